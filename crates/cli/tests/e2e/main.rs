//! framewire as its users run it: the real program, real clients at the other end, real files.
//!
//! What these tests need besides the program (ffmpeg, curl, a Python with OpenCV, Chromium, Xvfb, a film) is installed by
//! `scripts/setup test`; a test whose tool is missing fails and names it.

mod architecture;
mod bad_files;
mod bad_input;
mod bounds;
mod browser;
mod cable;
mod clients;
mod copy;
mod doctor;
mod faults;
mod film;
mod hardware;
mod harness;
mod http;
mod http_access;
mod http_pictures;
mod hub;
mod interrupts;
mod liars;
mod live_sources;
mod namespaces;
mod passwords;
mod pausing;
mod picture;
mod pictures;
mod proxies;
mod public_api;
mod recordings;
mod slow_links;
mod sources;
mod tutorials;
mod window;

use harness::internals;
