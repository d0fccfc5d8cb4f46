//! From the bytes that a server sent to a reply.
