//! `framewire devices`: the cameras of this machine.

use anyhow::Result;

use crate::source::camera;

#[derive(clap::Args)]
pub(super) struct Args {}

pub(super) fn run(_: &Args) -> Result<()> {
    let cameras = camera::devices()?;
    if cameras.is_empty() {
        super::print("no camera found: is one plugged in, and may this user read /dev/video* (group video)?")?;
    }
    cameras.iter().try_for_each(super::print)
}
