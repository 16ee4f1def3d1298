//! Where frames end.
