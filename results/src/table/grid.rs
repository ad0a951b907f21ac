//! Rows and columns on a terminal. The only place that imports `comfy-table`.

use comfy_table::{Cell, CellAlignment, ColumnConstraint, ContentArrangement, Table, TableComponent, Width, presets};

/// Widest line of a table, in columns.
pub(super) const WIDTH: usize = 100;

/// A column: how wide its content may be, and on which side it stands.
#[derive(Clone, Copy)]
pub(super) struct Col(pub u16, pub Side);

/// Where the content of a column stands.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Left,
    Right,
}

/// A header, a line under it, and rows. Content that is too wide is wrapped, never cut.
pub(super) fn grid(columns: &[Col], header: &[&str], rows: &[Vec<String>]) -> String {
    let cell = |(text, Col(_, side)): (&str, &Col)| {
        Cell::new(text).set_alignment(if *side == Side::Left { CellAlignment::Left } else { CellAlignment::Right })
    };
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic).set_width(WIDTH as u16);
    // Only the line under the header is drawn.
    for part in [TableComponent::HeaderLines, TableComponent::MiddleHeaderIntersections] {
        table.set_style(part, '─');
    }
    table.set_header(header.iter().copied().zip(columns).map(cell));
    for row in rows {
        table.add_row(row.iter().map(String::as_str).zip(columns).map(cell));
    }
    // The library puts one space between columns; a text after a number needs a second one.
    let pads = columns.iter().enumerate().map(|(index, Col(_, side))| u16::from(index > 0 && *side == Side::Left));
    let pads: Vec<u16> = pads.collect();
    table.set_constraints(columns.iter().zip(&pads).map(|(Col(width, _), pad)| ColumnConstraint::Absolute(Width::Fixed(width + pad))));
    for (column, pad) in table.column_iter_mut().zip(pads) {
        column.set_padding((pad, 0));
    }
    let mut text = String::new();
    for line in table.lines() {
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Breaks a text at spaces into lines of at most [`WIDTH`] columns; lines after the first are indented. A word that is longer than
/// a line stays whole, because it may be a path or a flag to copy.
pub(super) fn wrap(text: &str, indent: usize) -> String {
    let leading = text.len() - text.trim_start_matches(' ').len();
    let mut done = String::new();
    let mut line = " ".repeat(leading);
    let mut empty = true;
    for word in text.split(' ').filter(|w| !w.is_empty()) {
        if !empty && line.chars().count() + 1 + word.chars().count() > WIDTH {
            done.push_str(&line);
            done.push('\n');
            line = " ".repeat(indent);
            empty = true;
        }
        if !empty {
            line.push(' ');
        }
        line.push_str(word);
        empty = false;
    }
    done + line.trim_end() + "\n"
}
