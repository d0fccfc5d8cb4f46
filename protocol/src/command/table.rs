//! The verbs of SMTP, and where each is allowed.
