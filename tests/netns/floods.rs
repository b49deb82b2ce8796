//! Floods: more of everything than the daemon can follow, and rubbish. Its
//! numbers still add up, it neither grows nor gets series, it goes on following
//! what it follows, and shows the flood as one.

#[path = "floods/bed.rs"]
mod bed;
#[path = "floods/forged.rs"]
mod forged;
#[path = "floods/full.rs"]
mod full;
#[path = "floods/rubbish.rs"]
mod rubbish;
#[path = "floods/scan.rs"]
mod scan;
#[path = "floods/syn.rs"]
mod syn;
