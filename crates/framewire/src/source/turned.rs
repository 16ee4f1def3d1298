//! A source whose pictures are turned by hand, for a camera that is mounted upside down.

use framewire_proto::{Codec, Config, Frame, Orientation};

use super::{Item, Listener, Source};
use crate::error::Result;
use crate::{
    bad_frames::BadFrames,
    media::{
        Picture, Pool,
        jpeg::{Jpeg, JpegEntry},
        turn,
    },
};

/// Turns what another source gives. Raw pictures and JPEGs are turned here. H.264 passes through, and its configuration tells viewers
/// how to turn it.
pub struct Turned {
    source: Box<dyn Source>,
    orientation: Orientation,
    /// Of the source's frames.
    config: Option<Config>,
    jpegs: JpegEntry,
    pool: Pool,
    bad: BadFrames,
}

impl Turned {
    /// Turns this source's pictures.
    pub fn new(source: Box<dyn Source>, orientation: Orientation) -> Self {
        let (jpegs, bad) = (JpegEntry::default(), BadFrames::default());
        Self { source, orientation, config: None, jpegs, pool: Pool::default(), bad }
    }

    fn config(&self, mut config: Config) -> Config {
        if config.codec == Codec::H264 {
            let own = config.presentation.orientation;
            config.presentation.orientation = own.then(self.orientation);
        } else {
            (config.width, config.height) = self.orientation.size((config.width, config.height));
        }
        config
    }

    fn frame(&mut self, mut frame: Frame) -> Result<Frame> {
        let Some(Config { codec, width, height, .. }) = self.config else { return Ok(frame) };
        frame.data = match codec {
            Codec::H264 => return Ok(frame),
            Codec::Jpeg => self.jpegs.turn(Jpeg { data: frame.data, width, height }, self.orientation)?.data,
            Codec::I420 | Codec::Bgr24 => {
                let picture = Picture::new(codec, width.into(), height.into(), frame.data)?;
                turn::turn(&picture, self.orientation, &self.pool)?.into_data()
            }
        };
        Ok(frame)
    }
}

impl Source for Turned {
    fn next(&mut self) -> Result<Option<Item>> {
        loop {
            match self.source.next()? {
                Some(Item::Config(config)) => {
                    let turned = self.config(config.clone());
                    self.config = Some(config);
                    return Ok(Some(Item::Config(turned)));
                }
                Some(Item::Frame(frame)) => match self.frame(frame) {
                    Ok(frame) => return Ok(Some(Item::Frame(frame))),
                    Err(error) => self.bad.count(self.source.describe(), error),
                },
                other => return Ok(other),
            }
        }
    }

    fn listener(&self) -> Option<Listener> {
        self.source.listener()
    }

    fn is_finite(&self) -> bool {
        self.source.is_finite()
    }

    fn describe(&self) -> String {
        self.source.describe()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use bytes::Bytes;
    use framewire_proto::Times;

    use super::*;
    use crate::media::jpeg::{JpegDecoder, JpegEncoder};

    struct Given(VecDeque<Item>);

    impl Source for Given {
        fn next(&mut self) -> Result<Option<Item>> {
            Ok(self.0.pop_front())
        }

        fn describe(&self) -> String {
            "given".into()
        }
    }

    /// What becomes of frames of this codec.
    fn turned(config: Config, frames: &[Bytes], orientation: Orientation) -> (Config, Vec<Bytes>) {
        let mut items = VecDeque::from([Item::Config(config)]);
        items.extend((0..).zip(frames).map(|(sequence, data)| {
            Item::Frame(Frame { sequence, keyframe: true, times: Times::default(), data: data.clone() })
        }));
        let mut source = Turned::new(Box::new(Given(items)), orientation);
        let Some(Item::Config(config)) = source.next().unwrap() else { panic!("no configuration") };
        let frames = std::iter::from_fn(|| source.next().unwrap());
        let data = frames.map(|item| match item {
            Item::Frame(frame) => frame.data,
            other => panic!("{other:?}"),
        });
        (config, data.collect())
    }

    #[test]
    fn pictures_are_turned_in_every_codec_and_broken_ones_dropped() {
        let orientation = Orientation::turned(1);
        let row = Bytes::from_static(&[1, 2, 3, 4, 5, 6]);
        let (config, data) = turned(Config::new(Codec::Bgr24, 2, 1, 0), std::slice::from_ref(&row), orientation);
        assert_eq!((config.width, config.height, data), (1, 2, vec![row]));

        let mut pixels = vec![20; 16 * 32];
        pixels[..256].fill(220);
        pixels.resize(16 * 32 * 3 / 2, 128);
        let picture = Picture::new(Codec::I420, 16, 32, pixels.into()).unwrap();
        let jpeg = JpegEncoder::new(90).encode(&picture).unwrap();
        let frames = [jpeg.slice(..jpeg.len() / 2), jpeg];
        let (config, data) = turned(Config::new(Codec::Jpeg, 16, 32, 0), &frames, orientation);
        assert_eq!((config.width, config.height, data.len()), (32, 16, 1));
        let shown = JpegDecoder::new().decode(&data[0], Codec::I420).unwrap();
        assert!(shown.data()[0] < 30 && shown.data()[31] > 210, "what was above is on the right");

        let mut config = Config::new(Codec::H264, 64, 48, 0);
        config.presentation.orientation = Orientation::turned(1);
        let (config, _) = turned(config, &[], orientation);
        assert_eq!((config.width, config.height, config.shown_size()), (64, 48, (64, 48)));
        assert_eq!(config.presentation.orientation, Orientation::turned(2));
    }
}
