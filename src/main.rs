//! The `sdgpu` command.

fn main() -> std::process::ExitCode {
    sdgpu::cli::run()
}
