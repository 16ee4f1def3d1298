//! Codes a hub's renditions: each once for all who take it, by threads that may take their time.

use framewire_proto::{Codec, Config, Frame, Rendition};
use tokio::{runtime::Handle, task::spawn_blocking};
use tracing::{debug, warn};

use crate::error::{Context as _, Result};
use crate::{
    hub::{Hub, TranscodeJob, Transcoder},
    transcode::encode::{self, Encoder},
};

/// Has this hub's renditions coded from now on, on the runtime that this is called on.
pub fn serve(hub: &Hub) {
    let runtime = Handle::current();
    hub.transcode_with(move |coder| {
        runtime.spawn(run(coder));
    });
}

/// Codes one rendition while somebody takes it.
async fn run(mut coder: Transcoder) {
    let name = coder.name().clone();
    let rendition = coder.rendition().name();
    debug!("'{name}': {rendition} is coded");
    if let Err(error) = code(&mut coder).await {
        warn!("'{name}': {rendition} cannot be coded: {error}");
    }
    debug!("'{name}': {rendition} is coded no more");
}

async fn code(coder: &mut Transcoder) -> Result<()> {
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
            Ok(None) if wanted => coder.request_keyframe(),
            Ok(None) => {}
            Err(error) => {
                bad += 1;
                if bad.is_power_of_two() {
                    warn!("'{}': {error}: dropped ({bad} so far)", coder.name());
                }
            }
        }
    }
    Ok(())
}

fn frame(encoder: &mut Encoder, job: &TranscodeJob) -> Result<Option<(Config, Frame)>> {
    if !job.wanted {
        encoder.skip(&job.config, &job.frame)?;
        return Ok(None);
    }
    encoder.aim(job.target);
    if job.keyframe {
        encoder.request_keyframe();
    }
    // When its publisher had coded it stays known: the time that this takes here is the hub's.
    encoder.encode(&job.config, &job.frame)
}

/// How a rendition is coded.
fn config(rendition: Rendition) -> encode::Config {
    match rendition {
        Rendition::Jpeg => encode::Config { only: Some(Codec::Jpeg), ..encode::Config::default() },
        _ => encode::Config { codec: encode::CodecChoice::H264, anew: true, ..encode::Config::default() },
    }
}
