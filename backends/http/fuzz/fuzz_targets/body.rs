//! Chunked bodies, any bytes, cut anywhere: the same payload, the same end and the same error as byte by byte, and nothing panics.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nomoat_http::body::{BodyDecoder, BodyError, Framing, Head};

/// The payload, how many bytes belonged to the body, whether it was complete, and what was wrong.
fn decode(pieces: &[&[u8]]) -> (Vec<u8>, usize, bool, Option<BodyError>) {
    let (mut decoder, mut payload, mut used) = (BodyDecoder::new(Framing::Chunked), vec![], 0);
    for piece in pieces {
        let fed = decoder.feed(piece, &mut |slice| {
            assert!(!slice.is_empty(), "no empty slices");
            payload.extend_from_slice(slice);
            Ok::<(), BodyError>(())
        });
        match fed {
            Ok(n) => used += n,
            Err(error) => return (payload, 0, false, Some(error)),
        }
    }
    (payload, used, decoder.is_done(), None)
}

fuzz_target!(|input: &[u8]| {
    let (bytes, tail) = input.split_at(input.len() - input.len().min(4));
    let mut cuts: Vec<usize> = tail.chunks(2).map(|c| c.iter().fold(0, |n, b| n << 8 | usize::from(*b)) % (bytes.len() + 1)).collect();
    cuts.extend([0, bytes.len()]);
    cuts.sort_unstable();
    let pieces: Vec<&[u8]> = cuts.windows(2).map(|w| &bytes[w[0]..w[1]]).collect();
    let single: Vec<&[u8]> = bytes.chunks(1).collect();
    let expect = decode(&single);
    assert_eq!(decode(&[bytes]), expect);
    assert_eq!(decode(&pieces), expect);
    let _ = Head::parse(bytes);
});
