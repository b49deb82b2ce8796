//! Real rules, written by the tools and read back.

mod any;
mod bed;
mod drops;
mod interfaces;
mod proxy;
mod reader;
mod redirect;
mod scale;
mod ways;
