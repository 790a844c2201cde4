//! The `sdgpu` command.

fn main() -> std::process::ExitCode {
    sdgpu::run_command_line()
}
