"""What each user, group or experiment used in a month: core-hours, efficiency, energy, carbon dioxide."""
