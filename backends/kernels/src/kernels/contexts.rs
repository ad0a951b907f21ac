//! Over which contexts claims about growth are tested: one list, so that times of families at a context can be added and divided.

use crate::device::{Api, DeviceInfo};

/// Sequences, and lengths of context that each has. On a GPU every length is four times the one before it, as far as the memory for
/// `bytes` bytes of a token allows; a length of a few thousand tokens would measure the launch.
pub fn contexts(device: &DeviceInfo, bytes: usize) -> (usize, Vec<usize>) {
    if device.api == Api::Cpu {
        return (1, vec![2048, 8192, 32_768]);
    }
    let sequences = 8;
    let fits = |length: &usize| sequences * length * bytes < device.memory / 2;
    (sequences, [16_384, 65_536, 262_144, 1_048_576].into_iter().filter(fits).collect())
}
