"""The paper's method: pictures, noise and words in; clips out. Pure torch and diffusers, no files of a project, no queue."""
