//! `framewire demo`: something to look at, with one command.

use anyhow::Result;

use framewire::Stop;

use crate::serve;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Address and port to listen on
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:7070")]
    listen: String,
}

pub(crate) fn run(args: &Args, stop: &Stop) -> Result<()> {
    let mut sources = vec![("scene".parse()?, "pattern".parse()?)];
    let cameras = framewire::devices().unwrap_or_default();
    if let Some(first) = cameras.first() {
        sources.push(("camera".parse()?, first.path.to_string_lossy().parse()?));
    }
    let hub = serve::Args { listen: args.listen.clone(), sources, ..serve::Args::default() };
    serve::serve(&hub, stop, |address| {
        let found = if cameras.is_empty() { "no camera was found" } else { "the first camera is the stream 'camera'" };
        // The hub runs whether or not anybody reads this.
        let _ = crate::print(format_args!(
            "framewire demo: open  http://{address}/  in a browser

  a window          framewire view fw://{address}/scene
  a recording       framewire record fw://{address}/scene scene.mkv --duration 10
  a film beside it  framewire send film.mp4 fw://{address}/film
  your screen       framewire send screen fw://{address}/screen
  one picture       curl -o scene.jpg http://{address}/streams/scene/snapshot.jpg
  in Python         cv2.VideoCapture(\"http://{address}/streams/scene/mjpeg\")

({found}; Ctrl-C ends)"
        ));
    })
}
