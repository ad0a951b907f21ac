//! Event streams, any bytes, cut anywhere: the learnt skeletons change nothing, and nothing panics.
//!
//! The last bytes of an input say where the rest is cut, so that recorded answers are seeds as they are (their heads are lines that an
//! event stream ignores). A `[DONE]` begins the next answer on the same decoder; all answers come twice, so that the second time
//! everything is learnt that can be.
#![no_main]

#[path = "../../tests/receive/common.rs"]
#[expect(dead_code, reason = "the tests use more of it")]
mod common;

use common::{How, decode_on, split};
use libfuzzer_sys::fuzz_target;
use nomoat_http::protocol::PROTOCOLS;
use nomoat_http::stream::StreamDecoder;

const DONE: &[u8] = b"[DONE]\n\n";

fuzz_target!(|input: &[u8]| {
    let (bytes, tail) = input.split_at(input.len() - input.len().min(6));
    let cuts: Vec<usize> = tail.chunks(2).map(|c| c.iter().fold(0, |n, b| n << 8 | usize::from(*b))).collect();
    let mut answers = vec![];
    let mut rest = bytes;
    while let Some(at) = rest.windows(DONE.len()).position(|w| w == DONE) {
        let (answer, after) = rest.split_at(at + DONE.len());
        answers.push(answer);
        rest = after;
    }
    answers.push(rest);
    for protocol in PROTOCOLS {
        let mut fast = StreamDecoder::new(*protocol);
        let mut slow = StreamDecoder::new(*protocol).without_skeleton();
        for answer in answers.iter().chain(&answers) {
            let pieces = split(answer, &cuts);
            let (expect, all) = decode_on(&mut slow, &pieces, How { skeleton: false, one_read: false });
            let (got, parsed) = decode_on(&mut fast, &pieces, How { skeleton: true, one_read: false });
            assert_eq!(got, expect);
            assert!(parsed <= all);
        }
    }
});
