//! A viewer on the native wire.

use std::{
    future::poll_fn,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use framewire_proto::link::IDLE_TIMEOUT;
use tokio::time::sleep;

use super::viewer::ViewerSession;
use crate::{
    clock,
    error::{Result, bail},
    net::channel::Channel,
};

/// Serves this viewer until it leaves.
///
/// # Errors
/// The connection broke, or the viewer does not follow the wire.
pub(super) async fn run(channel: &Channel, viewer: ViewerSession) -> Result<()> {
    let viewer = Mutex::new(viewer);
    tokio::select! {
        ended = receive(channel, &viewer) => ended,
        broken = send(channel, &viewer) => broken,
    }
}

/// Takes the viewer's messages until it leaves.
async fn receive(channel: &Channel, viewer: &Mutex<ViewerSession>) -> Result<()> {
    loop {
        let message = channel.receive(|| lock(viewer).take_bytes(clock::now())).await?;
        if !lock(viewer).take(message, clock::now())? {
            return Ok(());
        }
    }
}

/// Sends what there is to send until that fails.
async fn send(channel: &Channel, viewer: &Mutex<ViewerSession>) -> Result<()> {
    loop {
        let now = clock::now();
        let deadline = lock(viewer).deadline(now);
        let next = poll_fn(|context| lock(viewer).poll(context, clock::now()));
        tokio::select! {
            biased;
            message = next => channel.send(&message).await?,
            () = sleep(Duration::from_micros(deadline.saturating_sub(now))) => {
                if lock(viewer).silent(clock::now()) {
                    bail!(Timeout, "the viewer has sent nothing for {} s", IDLE_TIMEOUT / 1_000_000);
                }
            }
        }
    }
}

fn lock(viewer: &Mutex<ViewerSession>) -> MutexGuard<'_, ViewerSession> {
    viewer.lock().unwrap_or_else(PoisonError::into_inner)
}
