"""What the module must do where nothing but Python and NumPy is installed."""

import tempfile

import framewire

with framewire.Hub(sources={"scene": "pattern#codec=h264"}) as hub:
    viewer = framewire.Viewer(f"{hub.url}/scene")
    frame = next(viewer)
    assert frame.codec == "h264" and frame.image.shape == (720, 1280, 3), frame
    with framewire.Sender(f"{hub.url}/copy") as sender:
        sender.send(frame.image)
        with hub.view("copy") as copies:
            copy = next(copies)
    assert copy.codec == "jpeg" and abs(int(copy.gray.mean()) - int(frame.gray.mean())) <= 2, copy
    file = f"{tempfile.mkdtemp()}/scene.mp4"
    recording = framewire.record(f"{hub.url}/scene", file, 1.0)
    assert recording.frames > 10, recording
pictures = list(framewire.Viewer(f"{file}#fps=0"))
assert pictures and pictures[0].width == 1280, pictures
print(f"module: {recording.frames} frames recorded, {len(pictures)} of them watched")
