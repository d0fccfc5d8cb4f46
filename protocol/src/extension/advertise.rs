//! The lines by which a server announces its extensions.
