//! `framewire devices`: the cameras of this machine.

use anyhow::Result;

#[derive(clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(_: &Args) -> Result<()> {
    let cameras = framewire::devices()?;
    if cameras.is_empty() {
        crate::print("no camera found: is one plugged in, and may this user read /dev/video* (group video)?")?;
    }
    cameras.iter().try_for_each(crate::print)
}
