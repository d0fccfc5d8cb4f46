//! The `mailrail` binary as an operator meets it: exit codes and texts.
