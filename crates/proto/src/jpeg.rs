//! A JPEG's header (ITU-T T.81, annex B), and where one JPEG ends in a row of them.
