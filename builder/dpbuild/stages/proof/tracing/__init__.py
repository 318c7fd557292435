"""What importing a module does, followed through its sources as far as constants tell; nothing is run.

What is not known is taken to go well, so a failure that is found is one: both ways of an unknown condition must end
in it, and nothing may catch it.
"""
