//! The trace that is shipped inside the program.

use crate::canonical::read::read;
use crate::error::TraceError;
use crate::sink::Collect;
use crate::source::Source;
use nomoat_core::trace::Trace;

/// A small chat trace in the canonical format, made by [`crate::chat`] with its default options.
pub const CHAT_SAMPLE: &str = include_str!("../samples/chat.jsonl");

/// The bundled chat trace: 700 requests at 20 per second.
///
/// # Errors
/// Only if the shipped file was damaged before the program was built.
pub fn bundled_chat() -> Result<Trace, TraceError> {
    let mut collected = Collect::default();
    let head = read(&mut Source::bytes("bundled chat trace", CHAT_SAMPLE.as_bytes()), &mut collected)?;
    Ok(Trace { requests: collected.requests, ..head })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ChatOptions, chat, write_canonical};

    /// Where the sample lies; `NOMOAT_WRITE_SAMPLES=1` writes it again after a change of the generator.
    const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/samples/chat.jsonl");

    #[test]
    fn the_sample_is_what_the_generator_makes() {
        let mut made = vec![];
        let trace = chat(&ChatOptions::default()).unwrap();
        write_canonical(&trace, &mut made).unwrap();
        if std::env::var_os("NOMOAT_WRITE_SAMPLES").is_some() {
            std::fs::write(PATH, &made).unwrap();
            return;
        }
        assert!(made == CHAT_SAMPLE.as_bytes(), "samples/chat.jsonl is out of date; run this test with NOMOAT_WRITE_SAMPLES=1");
        assert!(made.len() < 150_000, "{} bytes", made.len());
        assert_eq!(bundled_chat().unwrap(), trace);
    }
}
