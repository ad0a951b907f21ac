//! `nomoat devices`: every device that kernels can run on, and every one that is not there, with the reason; the same of power meters.

mod meters;
mod trial;

use crate::args::DevicesArgs;
use crate::exit::{Exit, Failure};
use crate::kernels::{SEED, options};
use crate::output::{line, put};
use crate::setup::format;
use nomoat_kernels::device::DeviceInfo;
use nomoat_kernels::device::find::{FindOptions, Found, Missing, find, open};
use nomoat_kernels::selftest::{Outcome, selftest};
use nomoat_results::Format;
use serde_json::json;
use std::fmt::Write as _;

/// Runs the subcommand. That there is no GPU is an answer, not a failure.
pub fn devices(args: &DevicesArgs) -> Result<Exit, Failure> {
    let format = format(&args.format)?;
    if let Some(time) = &args.power {
        return trial::trial(time, format);
    }
    let options = options(args.rtc.clone());
    let found = find(&options);
    if args.selftest {
        return tested(&found, &options, format);
    }
    match format {
        Format::Json => {
            let missing: Vec<_> =
                found.missing.iter().map(|missing| json!({"what": missing.what, "why": missing.why, "remedy": missing.remedy})).collect();
            let devices: Vec<_> = found.devices.iter().map(to_json).collect();
            let energy = meters::json(&meters::all());
            let all = json!({"devices": devices, "missing": missing, "energy": energy});
            line(&serde_json::to_string_pretty(&all).map_err(Failure::internal)?);
        }
        Format::Csv => {
            line("id,name,arch,units,warp,cache_bytes,memory_bytes,shared_bytes,driver,compiler");
            for info in &found.devices {
                let i = info;
                let quoted = [&i.name, &i.driver, &i.compiler].map(|text| format!("\"{}\"", text.replace('"', "\"\"")));
                let [name, driver, compiler] = &quoted;
                line(&format!(
                    "{},{name},{},{},{},{},{},{},{driver},{compiler}",
                    i.id(),
                    i.arch,
                    i.units,
                    i.warp,
                    i.cache,
                    i.memory,
                    i.shared
                ));
            }
        }
        Format::Table | Format::Markdown => put(&format!("{}\n{}", text(&found.devices, &found.missing), meters::text(&meters::all()))),
    }
    Ok(Exit::Ok)
}

fn to_json(info: &DeviceInfo) -> serde_json::Value {
    json!({
        "id": info.id(), "name": info.name, "arch": info.arch, "units": info.units, "warp": info.warp, "cache_bytes": info.cache,
        "memory_bytes": info.memory, "shared_bytes": info.shared, "driver": info.driver, "compiler": info.compiler,
    })
}

fn text(devices: &[DeviceInfo], missing: &[Missing]) -> String {
    let mut text = String::from("Found\n");
    for info in devices {
        let _ = writeln!(
            text,
            "  {:<9} {}, {}, {} units, last cache {} MiB, memory {} GiB",
            info.id(),
            info.name,
            info.arch,
            info.units,
            info.cache >> 20,
            info.memory >> 30
        );
        let _ = writeln!(text, "            driver: {}; compiler: {}", info.driver, info.compiler);
    }
    if !missing.is_empty() {
        text.push_str("\nNot found\n");
    }
    for missing in missing {
        let _ = writeln!(text, "  {:<9} {}", missing.what, missing.why);
        if !missing.remedy.is_empty() {
            let _ = writeln!(text, "            {}", missing.remedy);
        }
    }
    text
}

/// Every variant on every device, checked against the references in f64: a report that can be sent.
fn tested(found: &Found, options: &FindOptions, format: Format) -> Result<Exit, Failure> {
    if !matches!(format, Format::Table | Format::Markdown) {
        return Err(Failure::usage("--selftest prints a table; leave --format out"));
    }
    let mut exit = Exit::Ok;
    line(&format!("nomoat {} selftest, {} {}", env!("CARGO_PKG_VERSION"), std::env::consts::OS, std::env::consts::ARCH));
    for info in &found.devices {
        line(&format!("\n{}  {}, {}, {}, {}", info.id(), info.name, info.arch, info.driver, info.compiler));
        let device = match open(&info.id(), options) {
            Ok(device) => device,
            Err(error) => {
                line(&format!("  does not open: {error}"));
                exit = exit.worst(Exit::Partial);
                continue;
            }
        };
        let mut say = |family: &str| eprintln!("{}: {family}", info.id());
        for tested in selftest(device.as_ref(), SEED, &mut say) {
            let words = match &tested.outcome {
                Outcome::Right { shapes, worst, limit } => {
                    format!("right    {shapes} shapes, relative error at most {worst:.1e} (limit {limit:.0e})")
                }
                Outcome::Unfit(why) => format!("not run  {why}"),
                Outcome::Wrong(why) => format!("WRONG    {why}"),
                Outcome::Failed(why) => format!("FAILED   {why}"),
            };
            if matches!(tested.outcome, Outcome::Wrong(_) | Outcome::Failed(_)) {
                exit = exit.worst(Exit::Invalid);
            }
            line(&format!("  {:<28} {words}", format!("{} {}", tested.kernel, tested.variant)));
        }
    }
    for missing in &found.missing {
        line(&format!("\n{}  not there: {}", missing.what, missing.why));
    }
    Ok(exit)
}
