//! Access units of any bytes, separated by delimiters: no panic; copied parameter sets parse again; an access unit repeated at
//! once is no gap.
#![no_main]

use framewire_proto::h264::{self, GapDetector};
use libfuzzer_sys::fuzz_target;

const DELIMITER: [u8; 4] = [0, 0, 1, 9];

fuzz_target!(|bytes: &[u8]| {
    let mut gaps = GapDetector::default();
    let mut rest = bytes;
    while !rest.is_empty() {
        let next = rest.windows(DELIMITER.len()).skip(1).position(|head| head == DELIMITER);
        let (unit, behind) = rest.split_at(next.map_or(rest.len(), |at| at + 1));
        rest = behind;

        let contents = h264::contents(unit);
        assert!(!contents.is_keyframe() || contents.is_random_access_point());
        let sets = h264::parameter_sets(unit);
        assert_eq!(h264::parameter_sets(&sets), sets);
        assert_eq!(h264::contents(&sets).parameter_sets, contents.parameter_sets);

        gaps.missing_before(unit);
        assert!(!gaps.missing_before(unit));
    }
});
