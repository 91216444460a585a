"""Why a job does not go on or has failed: from waits and evidence to a sentence."""
