package org.voloedge.core

import java.io.File
import java.io.FileNotFoundException
import org.json.JSONArray
import org.json.JSONObject
import org.junit.Assert.assertArrayEquals
import org.junit.Assert.assertEquals
import org.junit.Assert.assertFalse
import org.junit.Assert.assertThrows
import org.junit.Assert.assertTrue
import org.junit.Rule
import org.junit.Test
import org.junit.rules.TemporaryFolder

class ArtifactTest {
    @get:Rule val temporary = TemporaryFolder()

    private val text = File(Goldens.artifact, Manifest.NAME).readText()

    /** The manifest with one value changed. */
    private fun changed(vararg keys: String, value: Any?): String {
        val json = JSONObject(text)
        val place = keys.dropLast(1).fold(json) { at, key -> at.getJSONObject(key) }
        place.put(keys.last(), value)
        return json.toString()
    }

    private fun refused(text: String): String =
        checkNotNull(assertThrows(ArtifactException::class.java) { Manifest.parse(text) }.message)

    private fun install(folder: File, replaced: Map<String, String> = emptyMap()): Artifact =
        Artifact.install(folder, ::whyNotOnAndroid) { path ->
            replaced[path]?.byteInputStream() ?: File(Goldens.artifact, path).inputStream()
        }

    @Test
    fun theManifestIsRead() {
        val manifest = Manifest.parse(text)
        assertEquals("volo_small", manifest.model)
        assertEquals(Size(24, 20), manifest.imageSize)
        assertEquals(Preprocessing(Size(25, 20), Size(24, 20)), manifest.preprocessing)
        assertEquals(Activation.SOFTMAX, manifest.activation)
        assertEquals("model.pte", manifest.file("model").path)
        assertEquals(7L, manifest.file("model").bytes)
        assertEquals(listOf("selftest/0.png", "selftest/1.png"), manifest.cases.map { it.photo })
        assertEquals(1e-3, manifest.tolerance, 0.0)
        assertEquals(listOf("x86-64", "arm64 armv8.2-dotprod"), manifest.parity.map { it.processor })
        assertEquals(listOf(true, true), manifest.parity.map { it.passed })
        assertEquals(mapOf("volo_edge" to "0.1.0"), manifest.tools)
    }

    @Test
    fun aParityThatWasNotRunIsRead() {
        val parity = JSONObject(text).getJSONArray("parity").getJSONObject(0)
        for (key in listOf("runtime", "processor", "relative_error", "top1_agreement", "passed")) {
            parity.put(key, JSONObject.NULL)
        }
        val read = Manifest.parse(changed("parity", value = JSONArray(listOf(parity)))).parity.single()
        assertEquals(Parity(2, null, null, null, null, null, 1e-3, null), read)
    }

    @Test
    fun labelsThatAgreeAreRead() {
        val parities = JSONObject(text).getJSONArray("parity")
        parities.getJSONObject(0).put("top1_agreement", JSONObject.NULL).put("labels_agreement", 0.5)
        val read = Manifest.parse(changed("parity", value = parities)).parity
        assertEquals(listOf(0.5, null), read.map { it.labelsAgreement })
    }

    @Test
    fun whatThisAppDoesNotKnowIsRefused() {
        assertTrue("this app reads 3: convert the model again" in refused(changed("format_version", value = 1)))
        assertTrue("this app reads 3: update the app" in refused(changed("format_version", value = 4)))
        val strange = listOf("interpolation" to "lanczos", "crop_mode" to "border", "color" to "CMYK", "color" to "rgb")
        for ((key, value) in strange) {
            val said = refused(changed("preprocessing", key, value = value))
            assertTrue("does not know the $key '$value': update" in said)
        }
        for (value in listOf("softplus", "Softmax")) {
            assertTrue("the activation '$value': update" in refused(changed("model", "activation", value = value)))
        }
        assertTrue("update the app" in refused(changed("preprocessing", "antialias", value = false)))
        assertTrue("update the app" in refused(changed("preprocessing", "normalization_in_model", value = false)))
        assertTrue("update the app" in refused(changed("preprocessing", "input_range", value = JSONArray("[0, 1]"))))
        assertTrue("no size" in refused(changed("preprocessing", "crop", value = JSONArray("[0, 20]"))))
        assertTrue("image_size" in refused(changed("model", "image_size", value = JSONArray("[24, 21]"))))
        assertTrue("is damaged" in refused(changed("model", "name", value = null)))
        assertTrue("is damaged" in refused("{"))
    }

    @Test
    fun howAModelWasTrainedIsRead() {
        val read = JSONObject(text).getJSONObject("preprocessing")
            .put("interpolation", "bilinear").put("crop_mode", "squash").put("color", "L")
        val manifest = Manifest.parse(changed("preprocessing", value = read))
        val expected = Preprocessing(Size(25, 20), Size(24, 20), Interpolation.BILINEAR, squash = true, grey = true)
        assertEquals(expected, manifest.preprocessing)
        assertEquals(Activation.SIGMOID, Manifest.parse(changed("model", "activation", value = "sigmoid")).activation)
    }

    @Test
    fun oneClassHasAProbabilityOnItsOwnOnly() {
        val one = JSONObject(text).getJSONObject("model").put("num_classes", 1)
        assertTrue("always 100 %: convert the model again" in refused(changed("model", value = one)))
        assertEquals(1, Manifest.parse(changed("model", value = one.put("activation", "sigmoid"))).numClasses)
    }

    @Test
    fun labelsAreLinesOfUtf8() {
        val labels = Artifact.read(Goldens.artifact).labels
        assertEquals(listOf("class 0", "café"), listOf(labels.first(), labels.last()))
    }

    @Test
    fun anArtifactIsInstalledOnce() {
        val folder = File(temporary.root, "artifact")
        val artifact = install(folder)
        assertEquals("weights", artifact.model.readText())
        assertArrayEquals(
            File(Goldens.artifact, "selftest/0.logits.f32").readBytes(),
            artifact.file("selftest/0.logits.f32").readBytes(),
        )
        assertEquals(7, artifact.floats("selftest/0.logits.f32").size)
        artifact.model.writeText("mine")
        assertEquals("mine", install(folder).model.readText()) // not copied again

        val later = changed("tools", "volo_edge", value = "0.2.0")
        assertEquals("0.2.0", install(folder, mapOf(Manifest.NAME to later)).manifest.tools["volo_edge"])
        assertEquals("weights", File(folder, "model.pte").readText())
    }

    @Test
    fun anotherArtifactMakesRoomBeforeItsSuccessorIsCopied() {
        val folder = File(temporary.root, "artifact")
        install(folder)
        val later = changed("tools", "volo_edge", value = "0.2.0").toByteArray()
        val seen = mutableListOf<Boolean>()
        Artifact.install(folder, ::whyNotOnAndroid) { path ->
            if (path == Manifest.NAME) return@install later.inputStream()
            seen += folder.exists()
            File(Goldens.artifact, path).inputStream()
        }
        assertEquals(setOf(false), seen.toSet())
        assertEquals(listOf("artifact"), temporary.root.list()!!.toList()) // and nothing is left behind
    }

    @Test
    fun aFileThatIsNotTheManifestsIsNotInstalled() {
        val folder = File(temporary.root, "artifact")
        val error = assertThrows(ArtifactException::class.java) { install(folder, mapOf("model.pte" to "other")) }
        assertTrue("model.pte is not the file the manifest names" in error.message!!)
        assertFalse(folder.exists())
        val path = changed("files", "model", "path", value = "../outside.pte")
        assertThrows(ArtifactException::class.java) { install(folder, mapOf(Manifest.NAME to path)) }
        assertThrows(FileNotFoundException::class.java) {
            install(folder, mapOf(Manifest.NAME to changed("files", "model", "path", value = "missing.pte")))
        }
        assertEquals("weights", install(folder).model.readText()) // what was left behind is in nobody's way
    }

    @Test
    fun anArtifactForAnotherPlatformIsRefused() {
        val folder = File(temporary.root, "artifact")
        for (key in listOf("target", "backend")) {
            val error = assertThrows(ArtifactException::class.java) {
                install(folder, mapOf(Manifest.NAME to changed(key, value = "coreml")))
            }
            assertTrue("which Android does not run" in error.message!!)
        }
    }
}
