//! From a command line to a command.
