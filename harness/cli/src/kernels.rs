//! `nomoat kernels`: what one operation costs on the devices in front of us, checked before it is timed.

use crate::args::KernelsArgs;
use crate::exit::{Exit, Failure};
use crate::output::put;
use crate::setup::format;
use nomoat_core::suggest::nearest;
use nomoat_drive::HostFacts;
use nomoat_kernels::device::find::{FindOptions, find, open};
use nomoat_kernels::device::{Built, Device, DeviceInfo};
use nomoat_kernels::dims::Dims;
use nomoat_kernels::kernel::{Cost, Kernel, Tier};
use nomoat_kernels::kernels::KERNELS;
use nomoat_kernels::plugin::{Plugged, load};
use nomoat_kernels::suite::{Absent, Ask, Ceilings, Found, Growth, Kind, Row, run};
use nomoat_kernels::timing::Effort;
use nomoat_results::kernels::{
    AbsentWire, CeilingWire, CeilingsWire, CheckWire, CompileWire, CostWire, DeviceWire, GrowthWire, HostWire, KernelRun, RowWire, SCHEMA,
};
use nomoat_results::rfc3339_utc;
use nomoat_results::table::render_kernels;
use std::path::PathBuf;
use std::time::SystemTime;

/// Seed of all values: the same numbers in every run, so that a wrong result comes back.
pub const SEED: u32 = 20_260_101;

/// Runs the subcommand.
pub fn kernels(args: &KernelsArgs) -> Result<Exit, Failure> {
    let format = format(&args.format)?;
    let chosen = chosen(&args.kernels)?;
    let plugins = plugins(&args.plugins)?;
    variants(&args.variants, &chosen, &plugins)?;
    let devices = devices(args)?;
    let out = args.out.clone().or_else(|| std::env::var_os("NOMOAT_OUT").map(PathBuf::from)).unwrap_or_else(|| PathBuf::from("runs"));
    let mut exit = Exit::Ok;
    for device in devices {
        let ask = Ask {
            kernels: chosen.clone(),
            variants: args.variants.clone(),
            plugins: plugins.clone(),
            tier: if args.quick { Tier::Quick } else { Tier::Full },
            effort: if args.quick { Effort::QUICK } else { Effort::FULL },
            sweep: !args.no_sweep,
            seed: SEED,
        };
        let host = HostFacts::read();
        let started = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_nanos() as i64);
        let id = device.info().id();
        let mut say = |what: &str| {
            if !args.quiet {
                eprintln!("{id}: {what}");
            }
        };
        let found = run(device.as_ref(), &ask, &mut say);
        if found.absent.iter().any(|absent| absent.kind != Kind::Unfit) {
            exit = exit.worst(Exit::Partial);
        }
        if found.rows.is_empty() && found.growth.is_empty() {
            exit = exit.worst(Exit::NothingMeasured);
        }
        let name = format!("{}-kernels-{}", uuid::Uuid::now_v7(), device.info().id().replace(':', "-"));
        let stored = stored(&name, started, args, &host, device.info(), &found);
        let directory = out.join(&name);
        stored.write(&directory).map_err(Failure::internal)?;
        put(&render_kernels(&stored, format));
        eprintln!("{}", directory.display());
    }
    Ok(exit)
}

/// The families that were named, in the order of the table; all of them where none was.
fn chosen(names: &[String]) -> Result<Vec<&'static dyn Kernel>, Failure> {
    let known: Vec<&str> = KERNELS.iter().map(|kernel| kernel.name()).collect();
    for name in names {
        if !known.contains(&name.as_str()) {
            let near = nearest(name, known.iter().copied()).map_or(String::new(), |near| format!("; did you mean {near}?"));
            return Err(Failure::usage(format!("there is no kernel `{name}`{near} Known are {}", known.join(", "))));
        }
    }
    Ok(KERNELS.iter().copied().filter(|kernel| names.is_empty() || names.iter().any(|name| name == kernel.name())).collect())
}

/// Entries of all plug-ins that were named.
fn plugins(paths: &[PathBuf]) -> Result<Vec<Plugged>, Failure> {
    let loaded = paths.iter().map(|path| load(path).map_err(Failure::usage_of));
    Ok(loaded.collect::<Result<Vec<_>, _>>()?.concat())
}

/// That every variant that was named is one of some family that was.
fn variants(names: &[String], kernels: &[&'static dyn Kernel], plugins: &[Plugged]) -> Result<(), Failure> {
    let mut known: Vec<&str> = kernels.iter().flat_map(|kernel| kernel.variants()).map(|variant| variant.name).collect();
    known.extend(plugins.iter().map(|plugged| plugged.variant.name));
    known.sort_unstable();
    known.dedup();
    match names.iter().find(|name| !known.contains(&name.as_str())) {
        Some(name) => Err(Failure::usage(format!("there is no variant `{name}` of these kernels; known are {}", known.join(", ")))),
        None => Ok(()),
    }
}

/// The devices that were named, or all that were found. One that was named and does not open ends the command before any is measured.
fn devices(args: &KernelsArgs) -> Result<Vec<Box<dyn Device>>, Failure> {
    let options = options(args.rtc.clone());
    if !args.device.is_empty() {
        return args.device.iter().map(|name| open(name, &options).map_err(Failure::usage_of)).collect();
    }
    let found = find(&options).devices;
    let opened = found.iter().filter_map(|info| open(&info.id(), &options).inspect_err(|error| eprintln!("left out: {error}")).ok());
    Ok(opened.collect())
}

/// Where compilers are looked for.
pub fn options(rtc: Option<PathBuf>) -> FindOptions {
    FindOptions { rtc, ..FindOptions::default() }
}

fn stored(id: &str, started: i64, args: &KernelsArgs, host: &HostFacts, device: &DeviceInfo, found: &Found) -> KernelRun {
    KernelRun {
        schema: SCHEMA.into(),
        id: id.into(),
        started_at: rfc3339_utc(started),
        nomoat: env!("CARGO_PKG_VERSION").into(),
        command: args.kernels.iter().cloned().chain(args.variants.iter().map(|name| format!("--variant={name}"))).collect(),
        host: HostWire { cpu: host.cpu.clone(), cores: host.cores, os: host.os.clone(), kernel: host.kernel.clone(), load1: host.load1 },
        device: DeviceWire {
            id: device.id(),
            name: device.name.clone(),
            arch: device.arch.clone(),
            units: device.units,
            warp: device.warp,
            cache_bytes: device.cache as u64,
            memory_bytes: device.memory as u64,
            driver: device.driver.clone(),
            compiler: device.compiler.clone(),
        },
        tier: if args.quick { "quick" } else { "full" }.into(),
        seed: SEED,
        ceilings: ceilings(&found.ceilings),
        rows: found.rows.iter().map(row).collect(),
        absent: found.absent.iter().map(absent).collect(),
        growth: found.growth.iter().map(growth).collect(),
    }
}

fn ceilings(ceilings: &Ceilings) -> CeilingsWire {
    let one = |ceiling: Option<(f64, &str)>| ceiling.map(|(per_s, variant)| CeilingWire { per_s, variant: variant.into() });
    CeilingsWire { copy: one(ceilings.copy), read: one(ceilings.read), matrix: one(ceilings.matrix) }
}

fn row(row: &Row) -> RowWire {
    let shape = row.dims.iter().map(|(name, size)| (name.to_owned(), size.into())).collect();
    RowWire {
        kernel: row.kernel.into(),
        variant: row.variant.into(),
        dtype: row.dims.dtype.name().into(),
        shape,
        cost: cost(&row.cost),
        check: CheckWire {
            relative_error: row.checked.error,
            limit: row.checked.tolerance,
            units: row.checked.units as u64,
            of: row.checked.of as u64,
        },
        compile: compile(&row.built),
        cache: row.timing.cache.name().into(),
        runs_per_sample: row.timing.runs as u64,
        samples_s: row.timing.samples.clone(),
        cpu_s: row.timing.cpu,
    }
}

fn cost(cost: &Cost) -> CostWire {
    CostWire { matrix_flops: cost.matrix_flops, vector_flops: cost.vector_flops, read_bytes: cost.read, written_bytes: cost.written }
}

fn compile(built: &[Built]) -> CompileWire {
    CompileWire {
        seconds: built.iter().map(|built| built.took.as_secs_f64()).sum(),
        cached: built.iter().filter(|built| built.cached).count() as u32,
        registers: built.iter().filter_map(|built| built.registers).max(),
        spilled_bytes: built.iter().filter_map(|built| built.spilled).max(),
    }
}

fn absent(absent: &Absent) -> AbsentWire {
    let kind = match absent.kind {
        Kind::Unfit => "unfit",
        Kind::Wrong => "wrong",
        Kind::Failed => "failed",
    };
    AbsentWire {
        kernel: absent.kernel.into(),
        variant: absent.variant.into(),
        shape: absent.dims.as_ref().map(Dims::to_string),
        kind: kind.into(),
        why: absent.why.clone(),
    }
}

fn growth(growth: &Growth) -> GrowthWire {
    GrowthWire {
        kernel: growth.kernel.into(),
        variant: growth.variant.into(),
        over: growth.scaling.over.into(),
        claim: growth.scaling.claim.into(),
        shape: growth.dims.to_string(),
        expected: growth.scaling.exponent,
        points: growth.points.clone(),
        exponent: growth.slope.map(|slope| slope.exponent),
        standard_error: growth.slope.map(|slope| slope.error),
    }
}
