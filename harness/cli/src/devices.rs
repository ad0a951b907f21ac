//! `nomoat devices`: every device that kernels can run on, and every one that is not there, with the reason.

use crate::args::DevicesArgs;
use crate::exit::{Exit, Failure};
use crate::kernels::options;
use crate::output::{line, put};
use crate::setup::format;
use nomoat_kernels::device::DeviceInfo;
use nomoat_kernels::device::find::{Missing, find};
use nomoat_results::Format;
use serde_json::json;
use std::fmt::Write as _;

/// Runs the subcommand. That there is no GPU is an answer, not a failure.
pub fn devices(args: &DevicesArgs) -> Result<Exit, Failure> {
    let format = format(&args.format)?;
    let found = find(&options(args.rtc.clone()));
    match format {
        Format::Json => {
            let missing: Vec<_> =
                found.missing.iter().map(|missing| json!({"what": missing.what, "why": missing.why, "remedy": missing.remedy})).collect();
            let devices: Vec<_> = found.devices.iter().map(to_json).collect();
            line(&serde_json::to_string_pretty(&json!({"devices": devices, "missing": missing})).map_err(Failure::internal)?);
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
        Format::Table | Format::Markdown => put(&text(&found.devices, &found.missing)),
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
