//! `nomoat export`: finished runs in the fields that others publish, from the same records.

use crate::args::ExportArgs;
use crate::config::choose;
use crate::exit::{Exit, Failure};
use crate::output::{line, put};
use nomoat_core::yardstick::{Field, Sums, System, Value, YARDSTICKS, Yardstick};
use nomoat_results::table::{Format, List};
use nomoat_results::{Manifest, RunDir};
use serde_json::{Map, json};

/// Runs the subcommand.
pub fn export(args: &ExportArgs) -> Result<Exit, Failure> {
    let names: Vec<&str> = YARDSTICKS.iter().map(|yardstick| yardstick.name).collect();
    let name = choose("--to", &args.to, &names)?;
    let yardstick =
        YARDSTICKS.iter().find(|yardstick| yardstick.name == name).ok_or_else(|| Failure::internal("a name without an entry"))?;
    let format = choose("--format", &args.format, &["json", "table"])?;
    let mut points = vec![];
    for path in &args.runs {
        let dir = RunDir::open(path).map_err(Failure::usage_of)?;
        let manifest = dir.manifest().map_err(Failure::usage_of)?;
        let mut sums = Sums::default();
        for record in dir.records().map_err(Failure::usage_of)? {
            sums.add(&record.map_err(Failure::usage_of)?);
        }
        let state = dir.summary().map_err(Failure::usage_of)?.validity.state;
        let fields = (yardstick.fields)(&sums, &system(&manifest));
        points.push((manifest, state, fields));
    }
    // A curve over load is read from light to heavy.
    points.sort_by_key(|(manifest, ..)| manifest.facts.concurrency);
    if format == "table" {
        table(yardstick, &points);
    } else {
        as_json(yardstick, &points)?;
    }
    Ok(Exit::Ok)
}

fn system(manifest: &Manifest) -> System {
    let accelerators = &manifest.system.accelerators;
    let names: Vec<&str> = accelerators.iter().map(|accelerator| accelerator.name.as_str()).collect();
    System {
        model: manifest.backend.model.clone(),
        engine: manifest.backend.engine.clone(),
        concurrency: manifest.facts.concurrency,
        accelerator: (!names.is_empty()).then(|| names.join(" + ")),
        accelerators: (!names.is_empty()).then(|| accelerators.iter().map(|accelerator| u64::from(accelerator.count)).sum()),
    }
}

type Points = [(Manifest, String, Vec<Field>)];

/// Their fields under their names; what is absent is null, and the reason stands beside it. What is ours is under one key.
fn as_json(yardstick: &Yardstick, points: &Points) -> Result<(), Failure> {
    let point = |(manifest, state, fields): &(Manifest, String, Vec<Field>)| {
        let mut object = Map::new();
        let mut absent = Map::new();
        for field in fields {
            let value = match &field.value {
                Value::Number(number) => json!(number),
                Value::Word(word) => json!(word),
                Value::Absent(why) => {
                    absent.insert(field.name.clone(), json!(why));
                    serde_json::Value::Null
                }
            };
            object.insert(field.name.clone(), value);
        }
        let version = format!("nomoat {}", manifest.harness.version);
        object.insert(
            "nomoat".into(),
            json!({"run": manifest.run_id, "state": state, "harness": version, "engine_version": manifest.backend.engine_version,
                   "schedule": manifest.workload.schedule_digest, "load": manifest.workload.load, "absent": absent}),
        );
        serde_json::Value::from(object)
    };
    let points: Vec<_> = points.iter().map(point).collect();
    let text = serde_json::to_string_pretty(&json!({"as": yardstick.name, "definitions": yardstick.source, "points": points}));
    line(&text.map_err(Failure::internal)?);
    Ok(())
}

fn table(yardstick: &Yardstick, points: &Points) {
    for (manifest, state, fields) in points {
        line(&format!("{} · {} · {} · {state}\n", yardstick.title, manifest.run_id, manifest.workload.load));
        let rows = fields.iter().map(|field| {
            let value = match &field.value {
                // Four digits are enough to look at; JSON has them all.
                Value::Number(number) if *number == 0.0 || (0.001..1e6).contains(&number.abs()) => format!("{number:.4}"),
                Value::Number(number) => format!("{number:.4e}"),
                Value::Word(word) => word.clone(),
                Value::Absent(why) => format!("– {why}"),
            };
            vec![field.name.clone(), value, field.about.to_owned()]
        });
        put(&List { columns: vec![("field", 22), ("value", 28), ("definition", 46)], rows: rows.collect() }.render(Format::Table));
        line("");
    }
    line(&format!("definitions: {}; stamps are ours", yardstick.source));
}
