//! The testbed itself: pods, Services, names, volumes, probes, restarts, clean-up. Needs root; every test makes a run
//! of its own, so that they can go on side by side, and checks that nothing of it is left.

mod bed;

mod identity;
mod lifecycle;
mod load;
mod manifests;
mod mesh;
mod quit;
mod runs;
mod services;
mod surroundings;
