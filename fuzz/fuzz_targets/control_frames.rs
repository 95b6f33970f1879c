//! `control_frames` under libFuzzer, or over the files named on the command line.
#![cfg_attr(fuzzing, no_main)]

sluice_fuzz::target!(control_frames);
