//! What the sink makes of events, by a manual clock.

use super::*;
use crate::clock::ManualClock;
use crate::record::Tokens;

fn sink() -> (EventSink, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::default());
    let mut sink = EventSink::new(clock.clone(), Arc::default());
    sink.begin(RequestRecord { tokens: Tokens { wanted: 4, ..Tokens::default() }, ..RequestRecord::default() }, true);
    (sink, clock)
}

fn token(text: &str, tokens: Option<u32>) -> TokenEvent<'_> {
    TokenEvent { kind: TokenKind::Visible, text: text.as_bytes(), tokens }
}

#[test]
fn characters_of_every_length() {
    let text = "né à peine, 12 €: 🙂🙂 fin. Ünïcödé ends here …".as_bytes();
    for from in 0..text.len() {
        for to in from..=text.len() {
            let one_by_one = text[from..to].iter().filter(|byte| **byte & 0xC0 != 0x80).count();
            assert_eq!(characters(&text[from..to]) as usize, one_by_one, "{from}..{to}");
        }
    }
}

/// Pieces are bytes: a character may be divided between two of them.
#[test]
fn characters_are_counted_once() {
    let (mut sink, _) = sink();
    let text = "aé€🙂".as_bytes();
    let stamp = sink.arrived(text.len(), None);
    for piece in [&text[..2], &text[2..5], &text[5..]] {
        sink.token(stamp, TokenEvent { kind: TokenKind::Visible, text: piece, tokens: Some(1) });
    }
    assert_eq!(sink.finish(Ok(Finish::default()), false).0.output_chars, Some(4));
    let (mut sink, _) = self::sink();
    let stamp = sink.handed_over(Nanos::ZERO);
    sink.ids_only();
    sink.token(stamp, token("xy", Some(1)));
    assert_eq!(sink.finish(Ok(Finish::default()), false).0.output_chars, None, "ids are no text");
}

#[test]
fn stamps_follow_the_definitions() {
    let (mut sink, clock) = sink();
    let step = |ms| clock.advance(Nanos::from_millis(ms));
    step(1);
    sink.started();
    step(1);
    sink.connected(Connection::New);
    step(1);
    sink.sent(100, None);
    step(7);
    let read = sink.arrived(50, None);
    sink.headers(read, Some(200));
    sink.silent(read, Silent::Choice); // the role chunk
    step(10);
    let read = sink.arrived(50, None);
    sink.token(read, TokenEvent { kind: TokenKind::Reasoning, text: b"a", tokens: Some(1) });
    step(10);
    let read = sink.arrived(50, None);
    sink.token(read, token("b", Some(2)));
    sink.token(read, token("c", Some(1)));
    step(10);
    let read = sink.arrived(50, None);
    sink.silent(read, Silent::Aside); // usage
    sink.usage(Usage { input: Some(9), output: Some(4), ..Usage::default() }, CountSource::Usage);
    let (record, text) = sink.finish(Ok(Finish::default()), true);
    assert_eq!((record.status, text.as_deref()), (Status::Ok, Some("abc")));
    let ms = |m: Option<Nanos>| m.map(|n| n.0 / 1_000_000);
    let at = record.at;
    assert_eq!([ms(at.start), ms(at.conn_ready), ms(at.sent), ms(at.headers)], [Some(1), Some(2), Some(3), Some(10)]);
    assert_eq!(
        [ms(at.first_byte), ms(at.first_token), ms(at.first_visible), ms(at.last_token), ms(at.end)],
        [Some(10), Some(20), Some(30), Some(30), Some(40)]
    );
    assert_eq!([ms(at.first_choice), ms(at.last_choice), ms(at.last_event), ms(at.terminator)], [Some(10), Some(30), Some(40), None]);
    assert_eq!(record.empty_choices, 1);
    assert_eq!((record.chunk_gaps.as_slice(), record.chunk_tokens.as_slice()), (&[0, 10_000_000, 0][..], &[1, 2, 1][..]));
    assert_eq!((record.coalesced, record.first_coalesced), (2, false));
    assert_eq!(record.tpot(), Some(Nanos(10_000_000 / 3)));
    assert_eq!(ms(record.e2e()), Some(30));
}

#[test]
fn events_without_text_are_told_apart() {
    use Silent::{Aside, Choice, Nothing, Terminator};
    // One event every millisecond; `None` is a token. Expected: first and last choice, last event, terminator, empty choices.
    let check = |events: &[Option<Silent>], expect: [Option<i64>; 4], empty: u32| {
        let (mut sink, clock) = sink();
        for event in events {
            clock.advance(Nanos::from_millis(1));
            let read = sink.arrived(1, None);
            match event {
                None => sink.token(read, token("x", Some(1))),
                Some(silent) => sink.silent(read, *silent),
            }
        }
        let (record, _) = sink.finish(Ok(Finish::default()), false);
        let at = record.at;
        let found = [at.first_choice, at.last_choice, at.last_event, at.terminator].map(|m| m.map(|n| n.0 / 1_000_000));
        assert_eq!((found, record.empty_choices), (expect, empty), "{events:?}");
    };
    check(&[], [None; 4], 0);
    check(&[Some(Nothing)], [None; 4], 0);
    check(&[None], [Some(1), Some(1), Some(1), None], 0);
    check(&[None, None], [Some(1), Some(2), Some(2), None], 0);
    check(&[Some(Choice), None, Some(Choice), Some(Aside), Some(Terminator)], [Some(1), Some(3), Some(4), Some(5)], 2);
    // Usage with every event, and before the first: no part of the answer.
    check(&[Some(Aside), Some(Nothing), None, Some(Aside), None], [Some(3), Some(5), Some(5), None], 0);
    check(&[None, Some(Nothing), Some(Terminator)], [Some(1), Some(1), Some(1), Some(3)], 0);
}

#[test]
fn tokens_are_shared_out() {
    let share = |usage: Option<u32>, pieces: &[(&str, Option<u32>)]| {
        let (mut sink, _) = sink();
        let read = sink.arrived(1, None);
        for (text, tokens) in pieces {
            sink.token(read, token(text, *tokens));
        }
        sink.usage(Usage { output: usage, ..Usage::default() }, CountSource::Usage);
        let (record, _) = sink.finish(Ok(Finish::default()), false);
        (record.chunk_tokens, record.tokens.output, record.tokens.chunk_source)
    };
    assert_eq!(share(None, &[("a", None), ("b", None)]), (vec![1, 1], Some(2), CountSource::Chunks));
    assert_eq!(share(Some(2), &[("a", None), ("b", None)]), (vec![1, 1], Some(2), CountSource::Usage));
    assert_eq!(share(Some(6), &[("aa", None), ("bbbb", None)]), (vec![2, 4], Some(6), CountSource::Estimated));
    assert_eq!(share(Some(5), &[("a", Some(1)), ("b", Some(3))]), (vec![1, 3], Some(5), CountSource::PerChunk));
    let (chunks, _, _) = share(Some(3), &[("a", None), ("bbbbbbbbbbbbbbbbbbbbbbb", None)]);
    assert_eq!((chunks[0], chunks.iter().sum::<u32>()), (1, 3), "the first token is in the first chunk");
}

#[test]
fn outcomes() {
    let end = |tokens: u32, outcome, exact| {
        let (mut sink, _) = sink();
        let read = sink.arrived(1, None);
        (0..tokens).for_each(|_| sink.token(read, token("x", Some(1))));
        let (record, _) = sink.finish(outcome, exact);
        (record.status, record.error)
    };
    let done = Ok(Finish::default());
    assert_eq!(end(4, done, true), (Status::Ok, None));
    assert_eq!(end(3, done, true), (Status::Short, Some(ErrorCode::Short)));
    assert_eq!(end(3, done, false), (Status::Ok, None));
    assert_eq!(end(0, done, false), (Status::Protocol, Some(ErrorCode::NoToken)));
    let silent = |output, source| {
        let (mut sink, _) = sink();
        sink.arrived(1, None);
        sink.usage(Usage { output: Some(output), ..Usage::default() }, source);
        let (record, _) = sink.finish(done, false);
        (record.status, record.at.first_token)
    };
    assert_eq!(silent(1, CountSource::Usage), (Status::Ok, None));
    assert_eq!(silent(0, CountSource::Usage), (Status::Protocol, None));
    let broken = Err(RequestError::new(Status::Truncated, ErrorCode::NoTerminator));
    assert_eq!(end(2, broken, true), (Status::Truncated, Some(ErrorCode::NoTerminator)));
}
