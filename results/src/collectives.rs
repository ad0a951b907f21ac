//! Times of collectives as nccl-tests and rccl-tests print them: which operation, over how many ranks, how long for how many bytes.
//!
//! The columns are what the line that names them says, since versions differ in them (`root` came, `error` became `#wrong`). Lines of
//! launchers and libraries between the rows are passed over; a row that does not read, one whose bandwidth is not its bytes over its time,
//! and one with wrong values are refused with their number.

mod fit;

pub use fit::{Asked, LinkFit};

use nomoat_core::collective::Collective;

/// One table of a file.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Table {
    /// The operation; `None` where the file does not tell it, as before nccl-tests 2.17.
    pub collective: Option<Collective>,
    /// The version of the tests.
    pub version: Option<String>,
    /// Ranks that took part; `None` where they are not listed.
    pub ranks: Option<u32>,
    /// The devices, each kind once.
    pub devices: Vec<String>,
    /// Whether the lines follow that the tests print after the last row; without them the table may have been cut off.
    pub ended: bool,
    /// The rows, as they stand.
    pub rows: Vec<Row>,
}

/// One size.
#[derive(Clone, PartialEq, Debug)]
pub struct Row {
    /// Its line, from 1.
    pub line: usize,
    /// Bytes of the operation.
    pub bytes: u64,
    /// Type of an element.
    pub element: String,
    /// Out of place and in place; `None` where that was not measured.
    pub timings: [Option<Timing>; 2],
}

/// One time.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Timing {
    /// Seconds of one operation.
    pub seconds: f64,
    /// Bus bandwidth as it is printed, GB/s.
    pub bus_gb_s: f64,
    /// Whether values were compared, and all were right.
    pub checked: bool,
}

/// Where the columns are, by the line that names them.
struct Columns {
    before: Vec<String>,
    /// Names of one group: time, algbw, busbw, and what was wrong.
    group: Vec<String>,
    groups: usize,
}

impl Columns {
    fn of(words: &[&str]) -> Option<Self> {
        let starts: Vec<usize> = words.iter().enumerate().filter(|(_, word)| **word == "time").map(|(index, _)| index).collect();
        let first = *starts.first().filter(|_| words.contains(&"size") && words.contains(&"algbw"))?;
        let end = starts.get(1).copied().unwrap_or(words.len());
        let own = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        Some(Self { before: own(&words[..first]), group: own(&words[first..end]), groups: starts.len().min(2) })
    }

    fn width(&self) -> usize {
        self.before.len() + self.groups * self.group.len()
    }
}

/// Reads all tables of a text.
///
/// # Errors
/// What is wrong with which line, or that there is no table.
pub fn read(text: &str) -> Result<Vec<Table>, String> {
    let mut reader = Reader { tables: vec![], current: Table::default(), listed: vec![], columns: None, scale: 1e-6 };
    for (index, line) in text.lines().enumerate() {
        reader.line(index + 1, line).map_err(|what| format!("line {}: {what}", index + 1))?;
    }
    reader.close();
    if reader.tables.is_empty() {
        return Err("holds no table of nccl-tests or rccl-tests: no line names `size`, `time` and `algbw` before rows of numbers".into());
    }
    Ok(reader.tables)
}

struct Reader {
    tables: Vec<Table>,
    current: Table,
    /// Ranks as they are listed.
    listed: Vec<u32>,
    columns: Option<Columns>,
    /// Seconds of the unit of times.
    scale: f64,
}

impl Reader {
    fn line(&mut self, number: usize, line: &str) -> Result<(), String> {
        let line = unlabelled(line);
        if let Some(comment) = line.strip_prefix('#') {
            return self.comment(comment.trim());
        }
        // Old versions write this one without a sign of a comment.
        if line.starts_with("Out of bounds values") || line.starts_with("rccl-tests:") {
            return self.comment(line);
        }
        // The library's own words stand between rows, behind the name of a host, which may begin with a digit.
        if line.contains(" NCCL INFO ") || line.contains(" NCCL WARN ") {
            return self.beside(line);
        }
        if line.contains("Test NCCL failure") || line.contains("Test CUDA failure") || line.contains("Test failure") {
            return Err(format!("the test failed there: {}; rows before it are no whole measurement", line.trim_end()));
        }
        let words: Vec<&str> = line.split_whitespace().collect();
        let Some(columns) = self.columns.as_ref().filter(|_| line.starts_with(|c: char| c.is_ascii_digit())) else { return Ok(()) };
        if words.len() != columns.width() {
            return Err(format!("has {} fields where its columns are {}", words.len(), columns.width()));
        }
        let row = row(number, columns, &words, self.scale)?;
        self.current.rows.push(row);
        Ok(())
    }

    /// A line of the library's. Where a row is glued to it, as processes that share an output do, it is no whole row and no other's words.
    fn beside(&self, line: &str) -> Result<(), String> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let number = |word: &str| word.bytes().all(|b| b.is_ascii_digit());
        // A row begins with two whole numbers and a type; no line of the library has more than one after another.
        let glued = self.columns.is_some()
            && words.windows(3).any(|w| number(w[0]) && number(w[1]) && w[2].starts_with(|c: char| c.is_ascii_alphabetic()));
        if glued {
            Err("a row stands in one line with the library's words; take these out (NCCL_DEBUG_FILE keeps them apart)".into())
        } else {
            Ok(())
        }
    }

    fn comment(&mut self, text: &str) -> Result<(), String> {
        let words: Vec<&str> = text.split_whitespace().collect();
        if let Some(columns) = Columns::of(&words) {
            // A second table begins where a second line names columns.
            if !self.current.rows.is_empty() {
                self.close();
            }
            self.columns = Some(columns);
            self.scale = 1e-6;
            self.current.ended = false;
        } else if text.contains("(ms)") && words.first() == Some(&"(B)") {
            self.scale = 1e-3;
        } else if let Some(program) = text.strip_prefix("Collective test starting:") {
            self.close();
            let name = program.trim().split('/').next_back().unwrap_or_default();
            let name = name.split("_perf").next().unwrap_or_default();
            let known = Collective::ALL.iter().find(|(_, known)| *known == name).map(|(collective, _)| *collective);
            let names = || Collective::ALL.map(|(_, name)| name).join(", ");
            self.current.collective = Some(known.ok_or_else(|| format!("`{name}` is no known collective; known are {}", names()))?);
        } else if let [tests, "version" | "Version", version, ..] = words[..]
            && let tests = tests.trim_end_matches(':')
            && (tests == "nccl-tests" || tests == "rccl-tests")
        {
            self.close();
            // AMD's print two: the number, in later releases, and the commit.
            self.current.version.get_or_insert_with(|| format!("{tests} {version}"));
        } else if let ["Rank", rank, "Group" | "Pid", ..] = words[..] {
            let rank = rank.parse::<u32>().map_err(|_| format!("`{rank}` is no rank"))?;
            self.listed.push(rank);
            // After the bus address there is the device's name.
            let device = text.split_once(']').map_or("", |(_, device)| device.trim()).to_owned();
            if !device.is_empty() && !self.current.devices.contains(&device) {
                self.current.devices.push(device);
            }
        } else if text.starts_with("Avg bus bandwidth") {
            self.current.ended = true;
        } else if let Some(count) = text.strip_prefix("Out of bounds values :") {
            self.current.ended = true;
            let count = count.split_whitespace().next().unwrap_or_default();
            if count != "0" {
                return Err(format!("the test says that {count} values were wrong: times of wrong results are not used"));
            }
        }
        Ok(())
    }

    /// Ends the table that is being read, where it has rows.
    fn close(&mut self) {
        if self.current.rows.is_empty() {
            // The end of a table without rows is none of the next one's.
            self.current.ended = false;
            return;
        }
        let mut table = std::mem::take(&mut self.current);
        let mut ranks = std::mem::take(&mut self.listed);
        ranks.sort_unstable();
        // Shortened lists, as pages of documentation have, would give a wrong number.
        let whole = !ranks.is_empty() && ranks.iter().enumerate().all(|(index, rank)| *rank as usize == index);
        table.ranks = if whole { u32::try_from(ranks.len()).ok() } else { None };
        self.columns = None;
        self.tables.push(table);
    }
}

/// A line without what launchers put before it: Open MPI `[1,0]<stdout>:`, Slurm `0: `, Ray and SkyPilot `(head, rank=0, pid=38) `, a quote
/// `> `. No row and no comment begins so.
fn unlabelled(line: &str) -> &str {
    let mut line = line.trim();
    loop {
        let rest = match line.as_bytes().first() {
            Some(b'>') => Some(&line[1..]),
            Some(b'(') => line.split_once(')').filter(|(label, _)| label.contains("pid=") || label.contains("rank=")).map(|(_, rest)| rest),
            Some(b'[') => line.split_once("<stdout>:").map(|(_, rest)| rest),
            Some(b'0'..=b'9') => line.split_once(':').filter(|(rank, _)| rank.bytes().all(|b| b.is_ascii_digit())).map(|(_, rest)| rest),
            _ => None,
        };
        match rest {
            Some(rest) => line = rest.trim_start(),
            None => return line,
        }
    }
}

fn row(line: usize, columns: &Columns, words: &[&str], scale: f64) -> Result<Row, String> {
    let at = |name: &str| columns.before.iter().position(|column| column == name).map(|index| words[index]);
    let size = at("size").unwrap_or_default();
    let bytes = size.parse::<u64>().map_err(|_| format!("`{size}` is no number of bytes"))?;
    let mut timings = [None, None];
    for (index, timing) in timings.iter_mut().enumerate().take(columns.groups) {
        let start = columns.before.len() + index * columns.group.len();
        *timing = timed(bytes, &columns.group, &words[start..start + columns.group.len()], scale)?;
    }
    Ok(Row { line, bytes, element: at("type").unwrap_or_default().to_owned(), timings })
}

fn timed(bytes: u64, names: &[String], words: &[&str], scale: f64) -> Result<Option<Timing>, String> {
    let at = |name: &str| names.iter().position(|column| column == name).map(|index| words[index]);
    let number = |name: &str| {
        let word = at(name).unwrap_or_default();
        word.parse::<f64>().ok().filter(|n| n.is_finite() && *n >= 0.0).ok_or_else(|| format!("`{word}` is no {name}"))
    };
    if at("time") == Some("N/A") {
        return Ok(None);
    }
    let (seconds, alg, bus) = (number("time")? * scale, number("algbw")?, number("busbw")?);
    if seconds <= 0.0 {
        return Err("a time of nothing".into());
    }
    let wrong = at("#wrong").unwrap_or("N/A");
    if wrong != "N/A" && wrong.parse::<f64>().map_err(|_| format!("`{wrong}` is no number of wrong values"))? > 0.0 {
        return Err(format!("{wrong} values were wrong: times of wrong results are not used"));
    }
    // Times have at least three digits, bandwidths two after the point.
    let own = bytes as f64 / seconds / 1e9;
    if (own - alg).abs() > 0.011 + 0.02 * own {
        return Err(format!("its algbw is {alg} GB/s, but {bytes} bytes in its time are {own:.2}"));
    }
    Ok(Some(Timing { seconds, bus_gb_s: bus, checked: wrong != "N/A" || at("error").is_some_and(|error| error != "N/A") }))
}

impl Table {
    /// (bytes, seconds) of the rows out of place or in place; sizes of no bytes are left out, for they are no operation.
    pub fn points(&self, in_place: bool) -> Vec<(f64, f64)> {
        let of = |row: &Row| Some((row.bytes as f64, row.timings[usize::from(in_place)]?.seconds));
        self.rows.iter().filter(|row| row.bytes > 0).filter_map(of).collect()
    }

    /// Whether the printed bus bandwidths are those of `collective` over `ranks`: a wrong number of ranks shows at the largest size.
    ///
    /// # Errors
    /// They are not, with the factor that they have.
    pub fn agrees(&self, collective: Collective, ranks: u32) -> Result<(), String> {
        let timed = self.rows.iter().rev().filter_map(|row| Some((row, row.timings.into_iter().flatten().next()?)));
        let Some((row, timing)) = { timed }.find(|(row, t)| row.bytes as f64 / t.seconds > 1e9) else {
            // Too slow for two digits after the point to tell.
            return Ok(());
        };
        let seen = timing.bus_gb_s * 1e9 * timing.seconds / row.bytes as f64;
        let expect = collective.bus_factor(ranks);
        if (seen - expect).abs() <= 0.03 * expect.max(0.1) {
            return Ok(());
        }
        Err(format!(
            "line {}: its busbw is {seen:.3} of its algbw, but {} over {ranks} ranks has {expect:.3}; give --ranks and --collective as they were",
            row.line,
            collective.name()
        ))
    }
}

#[cfg(test)]
mod tests;
