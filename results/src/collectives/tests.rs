//! Pages of several versions, with labels and without, whole and cut, right and wrong.

use super::*;

const NEW: &str = include_str!("../../fixtures/collectives/nccl-2.17.txt");
const OLD: &str = include_str!("../../fixtures/collectives/nccl-2.0.txt");
const ROCM: &str = include_str!("../../fixtures/collectives/rccl.txt");

#[test]
fn versions() {
    for (text, collective, version, ranks, devices, rows, first, last) in [
        (NEW, Some(Collective::AllReduce), Some("nccl-tests 2.17.9"), Some(8), 1, 19, [21.02e-6, 20.93e-6], [1.4921e-3, 1.4917e-3]),
        (OLD, None, None, None, 0, 4, [163.4e-6, 164.4e-6], [174.9e-6, 178.6e-6]),
        (ROCM, Some(Collective::AllGather), Some("rccl-tests 2.18.3"), Some(4), 1, 5, [14.2e-6, 13.9e-6], [69.1e-6, 68.4e-6]),
    ] {
        let tables = read(text).unwrap();
        assert_eq!(tables.len(), 1);
        let table = &tables[0];
        assert_eq!((table.collective, table.version.as_deref(), table.ranks), (collective, version, ranks));
        assert_eq!((table.devices.len(), table.rows.len()), (devices, rows));
        for (row, expect) in [(&table.rows[0], first), (&table.rows[rows - 1], last)] {
            assert_eq!(row.timings.map(|timing| (timing.unwrap().seconds * 1e9).round()), expect.map(|s: f64| (s * 1e9).round()));
        }
        if let (Some(collective), Some(ranks)) = (collective, ranks) {
            table.agrees(collective, ranks).unwrap();
            assert!(table.agrees(collective, 2).is_err());
        }
    }
}

#[test]
fn several_tables_in_a_file() {
    let tables = read(&format!("{NEW}{ROCM}{OLD}")).unwrap();
    assert_eq!(tables.iter().map(|table| (table.rows.len(), table.ranks)).collect::<Vec<_>>(), [(19, Some(8)), (5, Some(4)), (4, None)]);
}

/// A row that shares its line with the library's words is not dropped.
#[test]
fn rows_glued_to_other_words_are_refused() {
    let row = NEW.lines().find(|line| line.trim_start().starts_with("1024 ")).unwrap();
    for glued in [format!("{row} h1:12:12 [0] NCCL INFO foo"), format!("h1:12:12 [0] NCCL INFO foo{row}")] {
        let error = read(&NEW.replacen(row, &glued, 1)).unwrap_err();
        assert!(error.contains("a row stands in one line"), "{error}");
    }
}

/// As AMD prints it without a number, and an older list of ranks: neither tells a group.
#[test]
fn older_heads() {
    let text = ROCM.replace("# rccl-tests version 2.18.3\n", "").replace(" Group  0 ", " ");
    let table = &read(&text).unwrap()[0];
    assert_eq!((table.version.as_deref(), table.ranks, table.devices.len()), (Some("rccl-tests develop:made-up"), Some(4), 1));
}

/// What launchers and the library write around the rows is none of the page.
#[test]
fn labels_of_launchers() {
    let alone = read(ROCM).unwrap();
    for label in ["[1,0]<stdout>:", " 0: ", "12:", "(head, rank=0, pid=3808) [1,0]<stdout>:", "(worker pid=12, ip=10.0.0.2) ", "> ", "> > "]
    {
        let tagged: Vec<String> = ROCM
            .lines()
            .flat_map(|line| [format!("{label}{line}"), format!("{label}10.0.0.1:78499:78499 [0] NCCL INFO comm 0x60 rank 0 nranks 2")])
            .collect();
        let mut found = read(&tagged.join("\n")).unwrap_or_else(|why| panic!("{label}: {why}"));
        for (row, expect) in found.iter_mut().zip(&alone).flat_map(|(a, b)| a.rows.iter_mut().zip(&b.rows)) {
            row.line = expect.line;
        }
        assert_eq!(found, alone, "{label}");
    }
}

/// The made-up page of a newer version with one thing changed.
#[test]
fn bad_lines_are_named() {
    let swap = |from: &str, to: &str| {
        assert!(NEW.contains(from), "{from}");
        read(&NEW.replacen(from, to, 1))
    };
    let row = "1024           256     float     sum      -1    21.02    0.05    0.09       0";
    let at = NEW.lines().position(|line| line.contains(row)).unwrap() + 1;
    for (to, says) in [
        ("1024           256     float     sum      -1    21.02    0.05    0.09       3", "3 values were wrong"),
        ("1024           256     float     sum      -1    21.02    0.05    0.09", "fields"),
        ("1O24           256     float     sum      -1    21.02    0.05    0.09       0", "no number of bytes"),
        ("1024           256     float     sum      -1    fast     0.05    0.09       0", "`fast` is no time"),
        ("1024           256     float     sum      -1    -21.02    0.05    0.09       0", "is no time"),
        ("1024           256     float     sum      -1    21.02    5.05    0.09       0", "its algbw is 5.05"),
        ("1024           256     float     sum      -1    0.00    0.05    0.09       0", "time of nothing"),
    ] {
        let error = swap(row, to).unwrap_err();
        assert!(error.starts_with(&format!("line {at}: ")) && error.contains(says), "{error}");
    }
    assert!(swap("values : 0 OK", "values : 7 FAILED").unwrap_err().contains("7 values were wrong"));
    assert!(swap("all_reduce_perf", "all_hands_perf").unwrap_err().contains("known are all_reduce"));
    assert!(swap("# Out of", "host: Test NCCL failure common.cu:303\n# Out of").unwrap_err().contains("the test failed"));
    assert_eq!(swap("#  Rank  3", "#  Rank  9").unwrap()[0].ranks, None);
    assert!(read("hello\n").unwrap_err().contains("no table"));
    assert!(read("").unwrap_err().contains("no table"));
}

/// A page that was cut at the end of a row reads like a whole one.
#[test]
fn a_page_without_its_end() {
    for text in [NEW, OLD, ROCM] {
        assert!(read(text).unwrap()[0].ended);
        let end = text.lines().position(|line| line.contains("Out of bounds values")).unwrap();
        let cut: Vec<&str> = text.lines().take(end).collect();
        assert!(!read(&cut.join("\n")).unwrap()[0].ended);
    }
    let cut: Vec<&str> = NEW.lines().take_while(|line| !line.contains("Out of bounds values")).collect();
    let tables = read(&format!("{}\n{ROCM}", cut.join("\n"))).unwrap();
    assert_eq!(tables.iter().map(|table| table.ended).collect::<Vec<_>>(), [false, true]);
}

#[test]
fn nothing_panics_wherever_a_file_ends() {
    for text in [NEW, OLD, ROCM] {
        for end in 0..text.len() {
            let _ = read(&text[..end]);
        }
    }
}
