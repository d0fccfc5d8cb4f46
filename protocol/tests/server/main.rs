//! The server session as a whole: in transcripts, and in random dialogues cut at random.

mod api;
mod cuts;
mod runner;
mod settings;
mod show;
mod transcripts;
