"""The stages: functions from immutable values to one immutable value."""
