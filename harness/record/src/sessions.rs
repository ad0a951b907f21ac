//! Which request continues which conversation: by a header, or because its messages begin with those of an earlier request.

use crate::ask::{Content, Role};
use crate::identity::{Identity, Key};
use crate::row::Row;
use nomoat_core::units::Nanos;
use std::collections::HashMap;

/// Most earlier requests of one session, or with the same messages, among which a parent is looked for: the latest.
const MOST_LOOKED_AT: usize = 64;

/// Where a request belongs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    pub session: u32,
    pub turn: u16,
    pub parent: Option<u32>,
}

#[derive(Default)]
pub struct Sessions {
    count: u32,
    by_header: HashMap<Key, Named>,
    by_messages: HashMap<Key, Vec<u32>>,
}

struct Named {
    session: u32,
    turns: u16,
    latest: Vec<u32>,
}

impl Sessions {
    /// The place of the request that will be `rows[rows.len()]`. `header` is what the client said; else the messages speak, if it has any.
    pub fn place(&mut self, identity: &Identity, rows: &[Row], arrived: Nanos, header: Option<&[u8]>, content: &Content) -> Option<Place> {
        if let Some(value) = header {
            return Some(self.named(identity.key("session", Key::default(), value), rows, arrived));
        }
        let Content::Chat { messages, .. } = content else { return None };
        let mut before = Key::default();
        let mut keys = Vec::with_capacity(messages.len());
        for message in messages {
            before = identity.key("message", before, message.json.as_bytes());
            keys.push(before);
        }
        // The longest beginning that was asked before, and was answered here.
        let earlier = (1..keys.len()).rev().filter(|n| messages[*n].role == Role::Assistant);
        let parent = earlier.filter_map(|n| self.by_messages.get(&keys[n - 1])).find_map(|list| {
            let ended = || list.iter().rev().filter(|index| rows[**index as usize].had_ended(arrived));
            // Where two asked the same, each has one continuation before one has two.
            ended().find(|index| !rows[**index as usize].has_child).or_else(|| ended().next()).copied()
        });
        push(self.by_messages.entry(before).or_default(), rows.len());
        let of = parent.and_then(|index| Some((rows[index as usize].session?, rows[index as usize].turn)));
        Some(match of {
            Some((session, turn)) => Place { session, turn: turn.saturating_add(1), parent },
            None => Place { session: self.next(), turn: 0, parent: None },
        })
    }

    fn named(&mut self, key: Key, rows: &[Row], arrived: Nanos) -> Place {
        let count = self.count;
        let named = self.by_header.entry(key).or_insert(Named { session: count, turns: 0, latest: vec![] });
        let (session, turn) = (named.session, named.turns);
        let parent = named.latest.iter().copied().filter(|index| rows[*index as usize].had_ended(arrived));
        let parent = parent.max_by_key(|index| rows[*index as usize].ended.map(|(end, _)| end));
        named.turns = named.turns.saturating_add(1);
        push(&mut named.latest, rows.len());
        if session == count {
            self.next();
        }
        Place { session, turn, parent }
    }

    fn next(&mut self) -> u32 {
        self.count += 1;
        self.count - 1
    }
}

fn push(list: &mut Vec<u32>, index: usize) {
    if list.len() >= MOST_LOOKED_AT {
        list.remove(0);
    }
    list.push(index as u32);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ask::{Ask, Kind, Message};
    use crate::identity::Outline;
    use crate::row::Outcome;

    /// Letters are messages: an upper case one is the assistant's. Each row is (arrival, end, header, messages) and what is expected.
    fn check(rows: &[(i64, i64, &str, &str)], expect: &[(u32, u16, Option<u32>)]) {
        let identity = Identity::new([3; 32], 16);
        let (mut sessions, mut done) = (Sessions::default(), vec![]);
        for ((arrived, end, header, text), expect) in rows.iter().zip(expect) {
            let role = |c: char| if c.is_uppercase() { Role::Assistant } else { Role::Other };
            let messages = text.chars().map(|c| Message { role: role(c), json: c.to_string() }).collect();
            let content = Content::Chat { tools: None, messages };
            let header = Some(header.as_bytes()).filter(|h| !h.is_empty());
            let place = sessions.place(&identity, &done, Nanos(*arrived), header, &content).unwrap();
            assert_eq!((place.session, place.turn, place.parent), *expect, "{text} at {arrived}");
            if let Some(parent) = place.parent {
                done[parent as usize].has_child = true;
            }
            let ask = Ask { content, max_tokens: None, is_several: false, has_media: false, model: None };
            let outline = Outline { blocks: vec![], units: 1, is_exact: false };
            let mut row = Row::new(Kind::Chat, Nanos(*arrived), Nanos(*arrived), outline, &ask);
            row.session = Some(place.session);
            row.turn = place.turn;
            row.ended = Some((Nanos(*end), Outcome::Complete));
            done.push(row);
        }
    }

    #[test]
    fn conversations_are_found_by_what_they_repeat() {
        check(
            &[(0, 5, "", "sa"), (1, 6, "", "sb"), (10, 15, "", "saXc"), (20, 25, "", "saXcYd"), (21, 26, "", "sbXc")],
            &[(0, 0, None), (1, 0, None), (0, 1, Some(0)), (0, 2, Some(2)), (1, 1, Some(1))],
        );
        // A repetition is no continuation, nor is more of the user's; two who asked the same have one continuation each.
        check(
            &[(0, 5, "", "a"), (1, 5, "", "a"), (2, 6, "", "ab"), (10, 11, "", "aXb"), (11, 12, "", "aYb"), (12, 13, "", "aZb")],
            &[(0, 0, None), (1, 0, None), (2, 0, None), (1, 1, Some(1)), (0, 1, Some(0)), (1, 1, Some(1))],
        );
        // What had not ended was not answered.
        check(&[(0, 50, "", "a"), (10, 11, "", "aXb")], &[(0, 0, None), (1, 0, None)]);
    }

    #[test]
    fn a_header_says_it() {
        check(
            &[(0, 5, "one", "a"), (1, 9, "two", "a"), (6, 20, "one", "z"), (7, 8, "one", "y"), (30, 31, "one", "x"), (31, 32, "", "a")],
            &[(0, 0, None), (1, 0, None), (0, 1, Some(0)), (0, 2, Some(0)), (0, 3, Some(2)), (2, 0, None)],
        );
    }
}
