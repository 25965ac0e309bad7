"""The commands of `kubectl backstay`, a module each: read, let a pure room judge, show."""
