//! When the next frame may go to a viewer whose wire has no reports.

pub mod pacer;
mod reader_backlog;
