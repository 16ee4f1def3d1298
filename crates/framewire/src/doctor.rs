//! Where a stream's time goes, and which side is slow: figures in, findings out. No I/O, no clock.
//!
//! ```text
//!   figures    what was measured
//!   rules      what is slow: each rule finds one fault and states by what factor a side is too slow
//!   diagnosis  the findings, the worst first, and a report of them for a person
//! ```

mod diagnosis;
mod figures;
mod rules;

pub use diagnosis::{Diagnosis, Finding, examine};
pub use figures::{AtHub, Figures};
pub use rules::Side;

#[cfg(test)]
mod tests;
