//! From a command to the line that a client sends.
