//! Where captures come from: see the manifest.
