//! `tracer top`: its numbers are the client's own, and its screen is used as an
//! engineer would, in tmux.

#[path = "top/numbers.rs"]
mod numbers;
#[path = "top/scene.rs"]
mod scene;
#[path = "top/screen.rs"]
mod screen;
#[path = "top/tmux.rs"]
mod tmux;
