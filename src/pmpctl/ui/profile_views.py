"""What people see of the profile file."""

from pmpctl.operations.import_profiles import ImportResult
from pmpctl.profiles.model import Profile, ProfileFile
from pmpctl.profiles.write import profiles_text
from pmpctl.ui.terminal import Writer


def profiles_view(writer: Writer, file: ProfileFile) -> None:
    rows = [
        [
            f"{profile.name} (default)" if profile.name == file.default else profile.name,
            profile.model,
            profile.max_model_len or "model's",
            profile.device,
            profile.description,
        ]
        for profile in file.profiles.values()
    ]
    writer.table(["PROFILE", "MODEL", "CONTEXT", "DEVICE", "DESCRIPTION"], rows)


def profile_view(writer: Writer, profile: Profile) -> None:
    values = profile.model_dump(mode="json", exclude={"name"}, exclude_none=True)
    writer.line(profiles_text({profile.name: values}).rstrip("\n"))


def import_view(writer: Writer, result: ImportResult) -> None:
    writer.line(f"{'Wrote' if result.created else 'Merged into'} {result.path}.")
    for label, names in (("new", result.new), ("replaced", result.replaced), ("unchanged", result.unchanged)):
        if names:
            writer.line(f"  {label:<9}  {', '.join(names)}")
