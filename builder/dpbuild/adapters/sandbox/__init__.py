"""The sandbox port: engines, bubblewrap, and the loader of an extracted base."""
