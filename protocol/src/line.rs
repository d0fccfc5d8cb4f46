//! Finding the end of a command line. Only CRLF ends a line; what the line means is `command`'s
//! business, and where the bytes come from is the caller's.
