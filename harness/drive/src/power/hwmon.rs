//! The kernel's hardware monitor of graphics drivers: power of AMD's boards, energy of Intel's.

use super::{Device, Found, NoMeter, Reading, attribute, entries, number};
use std::path::{Path, PathBuf};

/// Drivers whose monitor is about a board.
const DRIVERS: [&str; 3] = ["amdgpu", "xe", "i915"];
/// Files of power in µW, the first that is there: the mean of late, then the present one.
const POWERS: [&str; 2] = ["power1_average", "power1_input"];
/// A file of energy in µJ.
const ENERGY: &str = "energy1_input";

/// One board.
struct Board {
    name: String,
    power: Option<PathBuf>,
    energy: Option<PathBuf>,
}

/// The boards of a host whose attributes are below `sys`.
pub(super) fn find(sys: &Path) -> Result<Found, NoMeter> {
    let folder = sys.join("class/hwmon");
    let Some(monitors) = entries(&folder) else {
        return Err(NoMeter::new(format!("{} is not there", folder.display()), ""));
    };
    let mut found: Found = vec![];
    for monitor in monitors {
        let driver = attribute(&monitor.join("name")).unwrap_or_default();
        if !DRIVERS.contains(&driver.as_str()) {
            continue;
        }
        let of = |name: &str| Some(monitor.join(name)).filter(|path| path.exists());
        let board = Board { name: format!("{driver}-{}", address(&monitor)), power: POWERS.into_iter().find_map(of), energy: of(ENERGY) };
        if board.power.is_none() && board.energy.is_none() {
            continue;
        }
        board.read().map_err(|why| NoMeter::new(why, "let this user read it"))?;
        found.push(Box::new(board));
    }
    if found.is_empty() {
        return Err(NoMeter::new(format!("no board of {} tells power or energy in {}", DRIVERS.join(", "), folder.display()), ""));
    }
    Ok(found)
}

/// Where on the bus the board is, which stays the same from start to start; else the monitor's own number.
fn address(monitor: &Path) -> String {
    let device = std::fs::canonicalize(monitor.join("device")).ok();
    let name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
    device.as_deref().and_then(name).or_else(|| name(monitor)).unwrap_or_default()
}

impl Device for Board {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn read(&self) -> Result<Reading, String> {
        let micro = |path: &Option<PathBuf>| path.as_deref().map(number).transpose().map(|n| n.map(|n| n as f64 / 1e6));
        Ok(Reading { watts: micro(&self.power)?, joules: micro(&self.energy)?, range: None })
    }
}
