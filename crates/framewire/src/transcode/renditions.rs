//! Encodes a hub's renditions: each once for all its viewers, on threads that may block.

use framewire_proto::{Codec, Config, Frame, Rendition};
use tokio::{runtime::Handle, task::spawn_blocking};
use tracing::{debug, warn};

use super::encode::{CodecChoice, EncodeOptions, Encoder};
use crate::bad_frames::BadFrames;
use crate::error::{Context as _, Result};
use crate::hub::{Hub, TranscodeJob, Transcoder};

/// Encodes this hub's renditions from now on, on the runtime that calls this.
pub fn serve(hub: &Hub) {
    let runtime = Handle::current();
    hub.transcode_with(move |transcoder| {
        runtime.spawn(run(transcoder));
    });
}

/// Encodes one rendition while it has viewers.
async fn run(mut transcoder: Transcoder) {
    let name = transcoder.name().clone();
    let rendition = transcoder.rendition().name();
    debug!("stream '{name}': encoding rendition {rendition}");
    if let Err(error) = transcode(&mut transcoder).await {
        warn!("stream '{name}': encoding of rendition {rendition} stopped: {error}");
    }
    debug!("stream '{name}': no longer encoding rendition {rendition}");
}

async fn transcode(transcoder: &mut Transcoder) -> Result<()> {
    let mut encoder = Encoder::new(options(transcoder.rendition()))?;
    let mut bad = BadFrames::default();
    while let Some(job) = transcoder.next().await {
        let wanted = job.wanted;
        let encoding = spawn_blocking(move || {
            let encoded = encode(&mut encoder, &job);
            (encoder, encoded)
        });
        let encoded;
        (encoder, encoded) = encoding.await.context("the encoding thread panicked")?;
        match encoded {
            Ok(Some((config, frame))) => transcoder.publish(config, &frame),
            // The decoder started between keyframes and needs one.
            Ok(None) if wanted => transcoder.request_keyframe(),
            Ok(None) => {}
            Err(error) => bad.count(transcoder.name(), error),
        }
    }
    Ok(())
}

/// One frame of the rendition. Its `encoded` time stays the publisher's: the time spent here counts as the hub's.
fn encode(encoder: &mut Encoder, job: &TranscodeJob) -> Result<Option<(Config, Frame)>> {
    if !job.wanted {
        encoder.skip(&job.config, &job.frame)?;
        return Ok(None);
    }
    encoder.set_target(job.target);
    if job.keyframe {
        encoder.request_keyframe();
    }
    encoder.encode(&job.config, &job.frame)
}

/// How a rendition is encoded.
fn options(rendition: Rendition) -> EncodeOptions {
    match rendition {
        Rendition::Jpeg => EncodeOptions { only: Some(Codec::Jpeg), ..EncodeOptions::default() },
        _ => EncodeOptions { codec: CodecChoice::H264, reencode: true, ..EncodeOptions::default() },
    }
}
