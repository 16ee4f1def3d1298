//! Codes a hub's renditions: each once for all who take it, by threads that may take their time.

use anyhow::{Context, Result};
use framewire_proto::{Codec, Config, Frame, Rendition};
use tokio::{runtime::Handle, task::spawn_blocking};
use tracing::{debug, warn};

use crate::{
    hub::{Coder, Hub, Job},
    media::encode::{self, Encoder},
};

/// Has this hub's renditions coded from now on, on the runtime that this is called on.
pub fn serve(hub: &Hub) {
    let runtime = Handle::current();
    hub.code_with(move |coder| {
        runtime.spawn(run(coder));
    });
}

/// Codes one rendition while somebody takes it.
async fn run(mut coder: Coder) {
    let name = coder.name().clone();
    let rendition = coder.rendition().name();
    debug!("'{name}': {rendition} is coded");
    if let Err(error) = code(&mut coder).await {
        warn!("'{name}': {rendition} cannot be coded: {error:#}");
    }
    debug!("'{name}': {rendition} is coded no more");
}

async fn code(coder: &mut Coder) -> Result<()> {
    let mut encoder = Encoder::new(config(coder.rendition()))?;
    let mut bad: u64 = 0;
    while let Some(job) = coder.next().await {
        let wanted = job.wanted;
        let coding = spawn_blocking(move || {
            let coded = frame(&mut encoder, &job);
            (encoder, coded)
        });
        let coded;
        (encoder, coded) = coding.await.context("the coding thread panicked")?;
        match coded {
            Ok(Some((config, frame))) => coder.publish(config, &frame),
            // A decoder that begins here, in the middle.
            Ok(None) if wanted => coder.wish_keyframe(),
            Ok(None) => {}
            Err(error) => {
                bad += 1;
                if bad.is_power_of_two() {
                    warn!("'{}': {error:#}: dropped ({bad} so far)", coder.name());
                }
            }
        }
    }
    Ok(())
}

fn frame(encoder: &mut Encoder, job: &Job) -> Result<Option<(Config, Frame)>> {
    if !job.wanted {
        encoder.pass_over(&job.config, &job.frame)?;
        return Ok(None);
    }
    encoder.aim(job.budget);
    if job.keyframe {
        encoder.wish_keyframe();
    }
    // When its publisher had coded it stays known: the time that this takes here is the hub's.
    encoder.encode(&job.config, &job.frame)
}

/// How a rendition is coded.
fn config(rendition: Rendition) -> encode::Config {
    match rendition {
        Rendition::Jpeg => encode::Config { only: Some(Codec::Jpeg), ..encode::Config::default() },
        _ => encode::Config { coding: encode::Coding::H264, anew: true, ..encode::Config::default() },
    }
}
